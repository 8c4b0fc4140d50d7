"""Is a drive's calibration true? Pure functions over NumPy arrays and Arrow tables.

Takes ``calibrated_sensor`` rows, poses, IMU readings, and keyframes (a sweep and the images taken with it); gives what
is wrong with a transform or a camera matrix in words, and errors of a calibration with their uncertainty. What a drive
cannot show comes back as unknown with its reason, never as good.
"""
