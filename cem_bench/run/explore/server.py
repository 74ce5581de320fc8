"""The explorer's server: one page and its questions, on 127.0.0.1 alone; every refusal is a sentence in the page."""

from __future__ import annotations

import hashlib
import io
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cem_bench.figures.saving import DPI
from cem_bench.inputs.images import SUFFIXES
from cem_bench.measuring.lam import attribution, receptive_field
from cem_bench.report.atlas import looks
from cem_bench.report.render import asset, embedded, render_html
from cem_bench.run.build import networks
from cem_bench.run.explore import views
from cem_bench.run.explore.choices import Choice, checked_photo, roi_at, scenes, split
from cem_bench.run.explore.download import measured_page
from cem_bench.run.explore.room import Room, Side
from cem_bench.run.job import line_of
from cem_bench.store.files import write_atomically

HOST = "127.0.0.1"
MOST_BYTES = 50_000_000  # of an upload
LAM_STEPS = 12
PAIRED = ("sampling=uniform", "sampling.n=12")  # two networks: draws whose number depends on nothing, to be paired
HEADER = "x-cem-explorer"  # a page of another host cannot send it without asking first
Answer = Mapping[str, Any] | Response


class Explorer:
    """The answers to the page's questions.

    Args:
        overrides: of the command line, as model=DnCNN task=dn50 output=FOLDER.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        self.given, self.others = split(overrides)
        self.output = Path(self.given.get("output", "results"))
        self.room = Room(self.output)
        self.photos: dict[str, Path] = {}

    def page(self) -> str:
        """Return the page."""
        first = {name: self.given.get(name, "") for name in ("model", "task", "scene")}
        content = {"networks": networks(), "scenes": scenes(), "first": first, "look": looks(0.01), "header": HEADER}
        script = asset("panel.js") + asset("explore.js")
        return render_html(
            "explore", content=embedded(content), style=asset("page.css") + asset("explore.css"), script=script
        )

    def upload(self, body: bytes, name: str) -> Answer:
        """Keep an uploaded photograph."""
        suffix = Path(name).suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"{name}: expected a photograph, one of {', '.join(SUFFIXES)}.")
        path = (self.output / "photos" / f"{hashlib.sha256(body).hexdigest()[:16]}{suffix}").resolve()
        write_atomically(path, body)
        try:
            self.photos[path.stem] = checked_photo(path)
        except ValueError as error:
            path.unlink()
            raise ValueError(str(error).replace(str(path), name)) from error
        return {"photo": path.stem}

    def load(self, models: Sequence[str], task: str, scene: str, photo: str = "") -> Answer:
        """Set up one or two networks on a photograph."""
        sampling = PAIRED if len(models) > 1 else (f"sampling={self.given.get('sampling', 'sequential')}",)
        path = self.photos[photo] if photo else None
        output = (f"output={self.output}",) if "output" in self.given else ()
        others = (*self.others, *output)
        where = "file" if path else scene
        self.room.set_up([Choice(model, task, where, path, None, sampling, others) for model in models[:2]])
        return {}

    def pictures(self) -> Answer:
        """Return input, restored image and error of every network, and what the photograph measures."""
        sides = [self.room.side(at) for at in range(max(1, len(self.room.sides)))]
        scene = sides[0].ready.bench.cell.scene
        names = [f"{side.ready.bench.cell.model.name}, engine {side.ready.bench.engine.kind}" for side in sides]
        images = [views.untouched(side.ready.bench) for side in sides]
        return {"clean": views.png(scene.clean), "size": scene.size, "images": images, "names": names}

    def roi(self, row: int, column: int) -> Answer:
        """Measure the ROI around a place, clean pixels."""
        size = self.room.side(0).ready.bench.cell.scene.size
        self.room.measure(roi_at(row, column, size))
        return {}

    def stop(self) -> Answer:
        """Ask the work at hand to end."""
        self.room.stop()
        return {}

    def donors(self, side: int, block: int) -> Answer:
        """Return a block's donors."""
        return {"donors": views.donors_of(self._drawing(side), block)}

    def intervened(self, side: int, block: int, k: int) -> Answer:
        """Return the three pictures under one draw."""
        return views.intervened(self._drawing(side).bench, block, k)

    def everywhere(self, side: int, block: int) -> Answer:
        """Return what a block does to the whole output."""
        self.room.free()
        return views.everywhere(self._side(side).ready.bench, block)

    def gradients(self, side: int) -> Answer:
        """Return LAM and effective receptive field of the ROI."""
        self.room.free()
        bench = self._drawing(side).bench
        restorer, roi = bench.cell.model.restorer, bench.cell.scene.roi
        lam = attribution(restorer, bench.tensor, roi, steps=LAM_STEPS)
        field = receptive_field(restorer, bench.tensor, roi)
        return {"lam": views.lam_picture(lam), "field": views.field_picture(field), "steps": LAM_STEPS}

    def figure(self, side: int, palette: str) -> Answer:
        """Return the figure of a measured map."""
        content = io.BytesIO()
        self.room.side(side)
        self._measured(side).plot(palette).savefig(content, format="png", dpi=DPI)
        return Response(content.getvalue(), media_type="image/png")

    def draws(self, side: int) -> Answer:
        """Return all stored draws of the ROI."""
        return Response(self._drawing(side).store.rows.to_csv(index=False), media_type="text/csv")

    def download(self, side: int) -> Answer:
        """Return the map as a page that opens from disk."""
        chosen = self._side(side)
        return HTMLResponse(measured_page(chosen.choice, self._measured(side), self.output))

    def _side(self, number: int) -> Side:
        return self.room.side(number)

    def _drawing(self, number: int) -> Any:
        drawing = self._side(number).drawing
        if drawing is None:
            raise ValueError("Nothing is drawn yet: click a place in the photograph first.")
        return drawing

    def _measured(self, number: int) -> Any:
        measured = self._side(number).measured
        if measured is None:
            raise ValueError("This map is not measured to its end: click the place again and let it finish.")
        return measured


def application(explorer: Explorer) -> Starlette:
    """Return the web application of an explorer."""
    questions: dict[str, Callable[..., Answer]] = {
        name: getattr(explorer, name)
        for name in (
            *("load", "pictures", "roi", "stop", "donors", "intervened", "everywhere", "gradients"),
            *("figure", "draws", "download"),
        )
    }

    async def page(request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(explorer.page), headers={"cache-control": "no-store"})

    async def state(request: Request) -> Response:
        version = int(request.query_params.get("version", -1))
        return JSONResponse(await run_in_threadpool(explorer.room.state, version))

    async def upload(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return _refused(ValueError(f"The file has more than {MOST_BYTES // 10**6} MB: choose a smaller one."))
        return await _answered(request, explorer.upload, {"body": body, "name": request.query_params.get("name", "")})

    def ask(name: str) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return await _answered(request, questions[name], await request.json())

        return endpoint

    routes = [Route("/", page), Route("/state", state), Route("/upload", upload, methods=["POST"])]
    routes += [Route(f"/{name}", ask(name), methods=["POST"]) for name in questions]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=routes, middleware=[guard])


async def _answered(request: Request, function: Callable[..., Answer], given: Mapping[str, Any]) -> Response:
    if HEADER not in request.headers:
        return _refused(ValueError("This question does not come from the explorer's page."))
    try:
        answer = await run_in_threadpool(function, **given)
    except Exception as error:  # noqa: BLE001 - a network may raise anything, and the server lives on
        return _refused(error)
    return answer if isinstance(answer, Response) else JSONResponse(answer)


def _refused(error: Exception) -> Response:
    """Return a sentence for the page, as an answer: a status of failure would also be a line on its console."""
    return JSONResponse({"error": line_of(error)})


def free_port(port: int) -> None:
    """Refuse a port that another program has.

    Raises:
        OSError: in a sentence.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            text = f"Port {port} is taken or may not be used ({error.strerror}): choose another, --port {port + 1}."
            raise OSError(text) from error


def serve(overrides: Sequence[str], port: int) -> None:
    """Serve the explorer until Ctrl-C.

    Raises:
        OSError: if the port is taken.
    """
    free_port(port)
    print(f"cem_bench: http://{HOST}:{port} (Ctrl-C ends it; what was measured is kept)", flush=True)
    app = application(Explorer(overrides))
    uvicorn.run(app, host=HOST, port=port, log_level="warning", timeout_graceful_shutdown=1)
