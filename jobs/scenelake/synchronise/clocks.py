"""What each channel's clock did over a drive."""

from typing import Any

import numpy as np

from scenelake.contracts.stages import ChannelClock
from scenelake.synchronise.clock_model import ClockModel
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import Stream
from scenelake.timebase.blocks import steps_in
from scenelake.timebase.epochs import epoch_of


def channel_clock(
    stream: Stream, reference: Stream | None, config: SynchroniseConfig, model: ClockModel | None = None
) -> ChannelClock | None:
    """Measures one channel's clock; None for a channel without a usable message.

    Args:
        stream: the channel.
        reference: the channel whose clock rules the drive, which may be the same one.
        model: of the clock as recorded; without one, nothing is said of it against the log times.
    """
    count = len(stream)
    if count == 0:
        return None
    period_ns = stream.median_period_ns
    least_gap_ns = max(config.gap_periods * (period_ns or 0), config.min_gap_ns)
    nbr_repeated, nbr_backward, largest_backward_ns = 0, 0, 0
    for _, steps in steps_in(stream.recorded_ns):
        nbr_repeated += int(np.count_nonzero(steps == 0))
        nbr_backward += int(np.count_nonzero(steps < 0))
        largest_backward_ns = max(largest_backward_ns, -int(steps.min()))
    nbr_gaps, largest_gap_ns = 0, 0
    for _, steps in steps_in(stream.sorted_ns):
        gaps = steps[steps > least_gap_ns]
        nbr_gaps += len(gaps)
        largest_gap_ns = max(largest_gap_ns, int(gaps.max(initial=0)))
    return ChannelClock(
        channel=stream.channel,
        modality=str(stream.modality),
        timestamp_basis=stream.timestamp_basis,
        nbr_messages=count,
        start_ns=int(stream.sorted_ns[0]),
        exclusive_end_ns=int(stream.sorted_ns[-1]) + 1,
        median_period_ns=period_ns,
        nbr_duplicate_stamps=nbr_repeated,
        nbr_backward_jumps=nbr_backward,
        largest_backward_ns=largest_backward_ns,
        nbr_gaps=nbr_gaps,
        largest_gap_ns=largest_gap_ns,
        offset_from_reference_ns=_offset(stream, reference, config),
        epoch=epoch_of(int(stream.sorted_ns[count // 2])),
        **(_against_log(model) if model is not None else {}),
    )


def _against_log(model: ClockModel) -> dict[str, Any]:
    """What a model adds to a channel's clock."""
    usual = model.usual
    if usual is None:
        return {"unobservable": model.unobservable}
    line = usual.line
    is_drift_known = model.is_same_rate and np.isfinite(line.drift_error_ppm)
    return {
        "log_minus_stamp_ns": int(model.segments[0].line.at(model.times_ns[:1])[0]),
        "drift_ppm": line.drift_ppm if is_drift_known else None,
        "drift_error_ppm": line.drift_error_ppm if is_drift_known else None,
        "nbr_clock_jumps": len(model.jumps),
        "unobservable": model.unobservable,
    }


def _offset(stream: Stream, reference: Stream | None, config: SynchroniseConfig) -> int | None:
    if reference is None or stream is reference or min(len(stream), len(reference)) < config.min_clock_messages:
        return None
    first, last = int(stream.sorted_ns[0]), int(stream.sorted_ns[-1])
    reference_first, reference_last = int(reference.sorted_ns[0]), int(reference.sorted_ns[-1])
    overlap_ns = min(last, reference_last) - max(first, reference_first)
    shorter_ns = min(last - first, reference_last - reference_first)
    if overlap_ns >= 0 and overlap_ns >= config.min_overlap_share * shorter_ns:
        return None
    offset_ns = first - reference_first
    return offset_ns if abs(offset_ns) >= config.min_clock_offset_ns else None
