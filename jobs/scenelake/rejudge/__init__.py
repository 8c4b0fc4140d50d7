"""Holds the measurements of a release to another policy, without building anything anew.

Takes a release and a policy; gives a release whose scenes, samples and payload are its parent's, and whose verdicts are
the policy's: ``release_scene`` says which scenes it keeps, ``qc_result`` why. Scenes that wait in quarantine and would
pass now are named; their drives have to be built again for them to join gold.
"""
