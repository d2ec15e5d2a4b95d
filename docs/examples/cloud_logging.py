"""Log lines as Google Cloud reads them; a logging configuration names ``cloud_logging.CloudFormatter``."""

from typing import Any

from trioserve.logging import JsonFormatter


class CloudFormatter(JsonFormatter):
    def fields(self, record: Any) -> dict[str, Any]:
        return super().fields(record) | {"severity": record.levelname}
