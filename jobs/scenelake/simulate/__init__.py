"""A seeded, physically consistent simulator of drives and teleoperated robots.

Takes a ``DriveConfig`` (``config``) or a ``RobotConfig`` (``robot_config``), with faults to inject (``faults``).
Gives an MCAP recording, ROS 2 CDR or Foxglove protobuf, and beside it ``<name>.truth.json``: every sensor's true
message times and clock error, its true and published mount, every fault with its interval, magnitude and the
messages it changed, and the number of messages per channel.

Guarantees: equal configurations give equal bytes; all sensors observe one closed-form motion, so that poses, IMU,
Doppler, points and pixels agree with each other and with the published calibration; a fault changes the messages
that the truth file names and no others; memory does not grow with the drive beyond its schedule.

Time: a sensor measures at its true time, stamps it by its own clock, publishes after its latency, and the message
reaches the recorder a little later. Frames: ``map`` (x east, y north, z up), ``base_link`` (on the ground, x forward,
y left, z up), cameras z forward, x right, y down.
"""
