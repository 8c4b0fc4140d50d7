"""Short names of topics."""

import pytest

from scenelake.export.names import ChannelNames, short_name


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("/camera/front_left/image", "front_left"),
        ("/camera/CAM_FRONT/image", "front"),
        ("/lidar/top/points", "top"),
        ("/sensors/lidar/points", "main"),
        ("/joint_states", "joint_states"),
        ("observation.images.top", "observation_top"),
        ("/", "main"),
    ],
)
def test_what_tells_topics_apart_stays(channel: str, name: str) -> None:
    assert short_name(channel) == name


def test_no_two_channels_of_a_kind_share_a_name() -> None:
    names = ChannelNames()
    channels = ["/camera/front/image", "/cam/front/image_raw", "/cam_front/image", "/CAM/front/image_raw"]
    given = [names("camera", c) for c in channels]
    assert given[0] == "front"
    assert len(set(given)) == len(channels)
    assert [names("camera", c) for c in channels] == given
    assert names.nuscenes("radar", "/radar/front") == "RADAR_FRONT"
