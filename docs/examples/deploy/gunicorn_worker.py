from trioserve.gunicorn import TrioWorker


class Worker(TrioWorker):
    """Shows its own task tree and metrics, at an address of its own."""

    def init_process(self) -> None:
        self.OPTIONS = {"admin": f"unix:/run/shop/{self.pid}.sock"}
        super().init_process()
