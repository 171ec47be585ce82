"""The pre-trained model that a run starts from: settled once, and the same when the run is resumed."""

from pathlib import Path

from pydantic import ValidationError

from deftrec.config import Config
from deftrec.errors import DeftRecError
from deftrec.files import write_text
from deftrec.pretrained_files.origin import Origin, check_origin, origin_of, pinned

FILE = "base.json"


def settle_base(config: Config, work: Path | None, resume: bool) -> tuple[Config, Origin | None]:
    """`config` with the hub's commit in place of "the newest", and which weights that is.

    The files are fetched if they are not there.

    Args:
        work: where an interrupted run finds what it had begun with; None keeps nothing.
        resume: whether to ask for that.

    Returns:
        the configuration, and None where no pre-trained model takes part.

    Raises:
        DeftRecError: the weights are not the ones that the run was begun with.
    """
    record = None if work is None else work / FILE
    begun = _read(record) if resume and record is not None and record.is_file() else None
    language = pinned(config.language, begun)
    found = origin_of(language)
    check_origin(begun, found, str(work))
    if record is not None and found is not None and begun is None:
        write_text(record, found.model_dump_json(indent=2) + "\n")
    return config.model_copy(update={"language": pinned(language, found)}), found


def _read(record: Path) -> Origin:
    try:
        return Origin.model_validate_json(record.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise DeftRecError(f"{record}: missing or damaged; train again without --resume") from error
