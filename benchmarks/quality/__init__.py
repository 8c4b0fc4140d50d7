"""The trial of the quality checks: do they catch what they are there for, and leave good scenes alone?

Takes simulated drives and robot sessions of rigs, noise and seeds of two disjoint sets, in fair and in hard conditions;
plants faults of graded strength in their raw messages; and sends them through decode, synchronise, the checks and the
policy as the pipeline does. Gives recall and false alarms with their bounds, and fails where a promise is broken.
"""
