"""What the documentation of FastAPI shows works the same in memory and over a real socket, to the last field.

Its examples and their tests come from FastAPI's source distribution. The tests run twice, each time in a pytest of
their own, where their client asks a server of ours. Their assertions judge the answers, and the answers of both runs
are compared here.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.helpers.documentation import DIRECTORY, ROOT, source_distribution

CHAPTERS: Final = (
    "additional_status_codes", "authentication_error_status_code", "bigger_applications", "body", "body_fields",
    "body_multiple_params", "body_nested_models", "body_updates", "configure_swagger_ui", "cookie_param_models",
    "cookie_params", "cors", "custom_docs_ui", "dataclasses", "encoder", "extending_openapi", "extra_data_types",
    "first_steps", "generate_clients", "handling_errors", "header_param_models", "header_params",
    "json_base64_bytes", "metadata", "openapi_callbacks", "openapi_webhooks",
    "path_operation_advanced_configurations", "path_operation_configurations", "path_params",
    "path_params_numeric_validations", "query_param_models", "query_params", "request_body_limits", "request_files",
    "request_form_models", "request_forms", "request_forms_and_files", "response_change_status_code",
    "response_cookies", "response_directly", "response_headers", "response_status_code", "schema_extra_example",
    "separate_openapi_schemas", "server_sent_events", "stream_data", "stream_json_lines", "strict_content_type",
    "sub_applications", "testing_dependencies",
)
"""Those whose examples need no further package, answer the same each time, and answer with HTTP alone."""


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the examples, ``docs_src``, and with the tests of ``CHAPTERS``; the rest stays packed."""
    directory = tmp_path_factory.mktemp("fastapi")
    wanted = (
        "docs_src/", "tests/__init__.py", "tests/utils.py", "tests/test_tutorial/__init__.py",
        *(f"tests/test_tutorial/test_{chapter}/" for chapter in CHAPTERS))
    with tarfile.open(source_distribution("fastapi")) as archive:
        for member in archive.getmembers():
            member.name = member.name.partition("/")[2]
            if member.name.startswith(wanted):
                archive.extract(member, directory, filter="data")
    return directory


def answers(directory: Path, place: str, backend: str) -> list[Any]:
    """Run the tests. Each answer, and the outcome of each test, in their order."""
    file = directory / f"{place}-{backend}.jsonl"
    path = [str(DIRECTORY), str(directory), str(ROOT)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(path),
        "PYTHONHASHSEED": "0"}  # some answers have the order of a set
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "memory_or_socket", "-p", "no:cacheprovider", "--rootdir", directory,
         "-k", "not non_an", "--tb=short", "--quiet", f"--place={place}", f"--backend={backend}", f"--answers={file}",
         "tests"],
        env=environment, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280,
        check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_memory_and_socket_answer_the_same(documentation: Path, backend: str) -> None:
    in_memory = answers(documentation, "memory", backend)
    on_socket = answers(documentation, "socket", backend)
    for one, other in zip(in_memory, on_socket, strict=True):
        assert one == other
    count = Counter(line[0] if len(line) == 1 else "answer" for line in (line[1:] for line in in_memory))
    assert count["passed"] > 500
    assert count["answer"] > 500
