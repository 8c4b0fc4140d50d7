"""What each channel's clock did over a drive."""

import numpy as np

from scenelake.contracts.stages import ChannelClock
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import Stream
from scenelake.timebase.slots import SECOND_NS

YEAR_2000_NS = 946_684_800 * SECOND_NS
"""No recorder of today ran before: earlier stamps count from the boot of a machine."""

YEAR_2100_NS = 4_102_444_800 * SECOND_NS


def channel_clock(stream: Stream, reference: Stream | None, config: SynchroniseConfig) -> ChannelClock | None:
    """Measures one channel's clock; None for a channel without a usable message.

    Args:
        stream: the channel.
        reference: the channel whose clock rules the drive, which may be the same one.
    """
    count = len(stream.rows)
    if count == 0:
        return None
    recorded_steps = np.diff(stream.recorded_ns)
    backward = recorded_steps[recorded_steps < 0]
    period_ns = stream.median_period_ns
    steps = np.diff(stream.sorted_ns)
    gaps = steps[steps > max(config.gap_periods * (period_ns or 0), config.min_gap_ns)]
    return ChannelClock(
        channel=stream.channel,
        modality=str(stream.modality),
        timestamp_basis=stream.timestamp_basis,
        nbr_messages=count,
        start_ns=int(stream.sorted_ns[0]),
        exclusive_end_ns=int(stream.sorted_ns[-1]) + 1,
        median_period_ns=period_ns,
        nbr_duplicate_stamps=int(np.count_nonzero(recorded_steps == 0)),
        nbr_backward_jumps=len(backward),
        largest_backward_ns=int(-backward.min()) if len(backward) else 0,
        nbr_gaps=len(gaps),
        largest_gap_ns=int(gaps.max()) if len(gaps) else 0,
        offset_from_reference_ns=_offset(stream, reference, config),
        epoch=epoch_of(int(stream.sorted_ns[count // 2])),
    )


def epoch_of(timestamp_ns: int) -> str:
    """``utc``, ``boot_time`` before the year 2000, or ``future`` from the year 2100."""
    if timestamp_ns < YEAR_2000_NS:
        return "boot_time"
    return "future" if timestamp_ns >= YEAR_2100_NS else "utc"


def _offset(stream: Stream, reference: Stream | None, config: SynchroniseConfig) -> int | None:
    if (
        reference is None
        or stream is reference
        or min(len(stream.rows), len(reference.rows)) < config.min_clock_messages
    ):
        return None
    first, last = int(stream.sorted_ns[0]), int(stream.sorted_ns[-1])
    reference_first, reference_last = int(reference.sorted_ns[0]), int(reference.sorted_ns[-1])
    overlap_ns = min(last, reference_last) - max(first, reference_first)
    shorter_ns = min(last - first, reference_last - reference_first)
    if overlap_ns >= 0 and overlap_ns >= config.min_overlap_share * shorter_ns:
        return None
    offset_ns = first - reference_first
    return offset_ns if abs(offset_ns) >= config.min_clock_offset_ns else None
