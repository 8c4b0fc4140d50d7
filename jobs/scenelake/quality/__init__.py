"""Quality: what is wrong with each scene, measured, and held against a policy that a team owns.

Takes a synchronised drive, gives ``qc_measurement`` (every check of every scene), ``qc_result`` (what the policy
objects to) and one verdict per scene. Guarantees: a check is a pure function of a drive's facts that applies no limit;
what it could not observe it says is unknown, which neither passes nor holds a scene back; the same facts, baselines
and policy give the same verdicts.
"""
