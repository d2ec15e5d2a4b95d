"""gunicorn.conf.py: gunicorn keeps the processes, trioserve serves. ``gunicorn main:app`` reads it."""

worker_class = "trioserve.gunicorn.TrioWorker"
bind = "127.0.0.1:8000"
workers = 2
timeout = 30            # seconds without a sign of life from a worker's event loop
graceful_timeout = 30   # for requests in progress, and for the lifespan
