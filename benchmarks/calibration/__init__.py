"""Camera-LiDAR verification on simulated drives whose calibration is known, and on real keyframes."""
