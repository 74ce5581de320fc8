import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cem_bench.figures.saving import MOST_BYTES, save_figure, small_png

LEGEND = np.array([[20, 60, 200], [250, 120, 0], [0, 90, 40]], np.uint8)


def noisy(side: int) -> Image.Image:
    """A picture that compresses badly, with three small patches of a legend."""
    pixels = np.random.default_rng(3).normal(128, 30, (side, side, 3)).clip(0, 255).astype(np.uint8)
    for place, colour in enumerate(LEGEND):
        pixels[4 + 12 * place : 14 + 12 * place, 4:20] = colour
    return Image.fromarray(pixels)


def as_png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_a_small_picture_stays_as_it_is():
    content = as_png(noisy(64))
    assert small_png(content) == content


def test_a_large_one_gets_a_palette_that_keeps_the_legend_and_the_photograph():
    image = noisy(400)
    content = as_png(image)
    assert len(content) > MOST_BYTES
    smaller = small_png(content)
    assert len(smaller) <= MOST_BYTES
    assert smaller == small_png(content)
    there = np.asarray(Image.open(io.BytesIO(smaller)).convert("RGB")).astype(int)
    assert there.shape == (400, 400, 3)
    assert np.abs(there - np.asarray(image)).mean() < 8
    np.testing.assert_array_equal(there[[9, 21, 33], 12], LEGEND)


def test_pixels_go_only_where_colours_are_not_enough():
    smaller = small_png(as_png(noisy(900)))
    assert len(smaller) <= MOST_BYTES
    width, height = Image.open(io.BytesIO(smaller)).size
    assert 300 < width == height < 900


def test_what_cannot_be_small_is_refused():
    with pytest.raises(ValueError, match="Got most = 100 bytes"):
        small_png(as_png(noisy(200)), 100)


def test_transparent_is_white():
    image = noisy(400).convert("RGBA")
    image.paste((255, 0, 0, 0), (100, 100, 200, 200))
    there = Image.open(io.BytesIO(small_png(as_png(image), 120_000))).convert("RGB")
    assert there.getpixel((there.width * 150 // 400, there.height * 150 // 400)) == (255, 255, 255)


def test_a_figure_is_written_as_png_and_in_what_is_asked_for(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 3, 2])
    assert [path.name for path in save_figure(figure, tmp_path / "curve.of")] == ["curve.of.png"]
    paths = save_figure(figure, tmp_path / "new" / "curve", ("svg", "pdf"))
    assert [path.name for path in paths] == ["curve.svg", "curve.pdf"]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in save_figure(figure, tmp_path / "new" / "curve", ("svg", "pdf"))] == before
    with pytest.raises(ValueError, match="Got figure format jpeg; expected one or more of png, svg, pdf"):
        save_figure(figure, tmp_path / "curve", ("png", "jpeg"))
