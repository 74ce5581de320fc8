# The first command of README in a container: docker build -t cem_bench . && docker run --rm cem_bench
# Another command: docker run --rm -v "$PWD/outputs:/app/outputs" cem_bench model=FSRCNN scene=coffee
FROM python:3.11-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e .
ENTRYPOINT ["python", "-m", "cem_bench"]
CMD ["+experiment=quickstart"]
