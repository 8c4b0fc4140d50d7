"""One export from its choice to the folder in place."""

from pathlib import Path

from pydantic import BaseModel

from scenelake.contracts.release_reader import ReleaseReader
from scenelake.export.config import LeRobotConfig, NuScenesConfig, Selection, WebDatasetConfig
from scenelake.export.folder import SUMMARY_FILE, new_folder, write_json
from scenelake.export.lerobot import export_lerobot
from scenelake.export.nuscenes import export_nuscenes
from scenelake.export.summary import Progress, Summary
from scenelake.export.webdataset import export_webdataset

Config = NuScenesConfig | LeRobotConfig | WebDatasetConfig


def run_export(
    reader: ReleaseReader,
    target: Path,
    selection: Selection,
    config: Config,
    *,
    is_overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Exports what was chosen of a release to a folder, which appears when it is whole.

    Raises:
        BadInputError: reasons ``folder_not_empty``, ``not_an_export``, ``not_found``, ``nothing_to_export``, and those
            of ``ReleaseReader.payloads``; the folder is then as it was.
    """
    report = progress or (lambda done, total, what: None)
    summary = Summary(_name(config), reader.release, _options(selection) | _options(config))
    with new_folder(target, is_overwrite=is_overwrite) as folder:
        match config:
            case NuScenesConfig():
                export_nuscenes(reader, folder, selection, config, summary, report)
            case LeRobotConfig():
                export_lerobot(reader, folder, selection, config, summary, report)
            case WebDatasetConfig():
                export_webdataset(reader, folder, selection, config, summary, report)
        write_json(folder / SUMMARY_FILE, summary.to_json())
    return summary


def _name(config: Config) -> str:
    match config:
        case NuScenesConfig():
            return "nuscenes"
        case LeRobotConfig(has_modality=True):
            return "groot"
        case LeRobotConfig():
            return f"lerobot {config.version}"
        case WebDatasetConfig():
            return "webdataset"


def _options(model: BaseModel) -> dict[str, object]:
    options: dict[str, object] = model.model_dump(mode="json")
    return options
