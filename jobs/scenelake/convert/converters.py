"""Every converter by the name that the command line uses."""

from scenelake.convert import av2, comma2k19, donkeycar, nuscenes, radiate
from scenelake.convert.report import Converter

CONVERTERS: dict[str, Converter] = {
    "radiate": radiate.convert,
    "comma2k19": comma2k19.convert,
    "av2": av2.convert,
    "nuscenes": nuscenes.convert,
    "donkeycar": donkeycar.convert,
}
