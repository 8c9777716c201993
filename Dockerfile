# minivec serve: docker build -t minivec-serve . (docs/serve.md)
FROM python:3.12-slim
WORKDIR /minivec
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir '.[serve]' && useradd --system minivec
USER minivec
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["minivec", "serve", "--host", "0.0.0.0", "--port", "8000"]
