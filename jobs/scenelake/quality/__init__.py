"""Quality: what is wrong with each scene, measured against a policy that a team owns.

Takes a synchronised drive, gives one ``qc_result`` row per check and one verdict per scene. Guarantees:
checks are pure, measure what they can and say what they could not; an absent sensor warns, it never fails.
"""
