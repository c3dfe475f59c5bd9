"""Record what the official SDK says of each mutation, offline: no account, no workspace.

In an environment of its own: ``pip install azure-ai-ml==1.35.2 ruamel.yaml``, then ``python tests/language/record_sdk.py``.
The verdict is that of its ``load_job``, of its client-side validation where the kind of job has one, and of the
conversion to the body that it would send.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mutations import FILES, VERDICTS, all_mutations  # type: ignore[import-not-found,unused-ignore]

REASONS = (
    (r"Unknown field", "unknown key"),
    (r"Missing data for required field", "missing key"),
    (r"Not a valid (\w+)", "wrong type"),
    (r"Invalid value|not in set|Must be one of|Unsupported", "value not allowed"),
    (r"does not contain|Failed to find referenced|not found|nvalid binding", "unknown reference"),
    (r"Can't find|does not exist|No such file", "no such file"),
    (r"may not be null|cannot be (None|null|empty)|required", "no value"),
)


def verdict(path: Path) -> tuple[bool, str, str]:
    """Whether the SDK accepts the file; where it does not: the stage and the reason in a few words."""
    from azure.ai.ml import load_job  # type: ignore[import-not-found,unused-ignore]

    stage = "load"
    try:
        job = load_job(path)
        stage = "validate"
        if hasattr(job, "_validate"):
            result = job._validate()
            if not result.passed:
                return False, stage, reason(str(result.error_messages))
        stage = "convert"
        standalone = job._to_job() if hasattr(job, "_to_job") else job
        standalone._to_rest_object()
    except (AttributeError, TypeError, KeyError, IndexError, ValueError, AssertionError) as error:
        return False, stage, f"crashes ({type(error).__name__})"
    except Exception as error:  # noqa: BLE001  (whatever it raises is its verdict)
        return False, stage, reason(str(error))
    return True, "", ""


def reason(text: str) -> str:
    """The SDK's text in a few words of ours."""
    found = [words for pattern, words in REASONS if re.search(pattern, text, re.IGNORECASE)]
    return found[0] if found else "refused"


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from azure.ai.ml import __version__  # type: ignore[import-not-found,unused-ignore]

    lines = []
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder) / "files"
        shutil.copytree(FILES, room)
        job = room / "mutated.yml"
        for mutation in all_mutations():
            job.write_text(mutation.text)
            ok, stage, why = verdict(job)
            told = {} if ok else {"stage": stage, "reason": why}
            lines.append({"id": mutation.id, "digest": mutation.digest, "ok": ok, **told})
    header = {
        "sdk": f"azure-ai-ml {__version__}",
        "python": ".".join(map(str, sys.version_info[:2])),
        "count": len(lines),
    }
    VERDICTS.write_text("".join(json.dumps(line) + "\n" for line in [header, *lines]))
    print(header, sum(line["ok"] for line in lines), "accepted")


if __name__ == "__main__":
    main()
