"""Privacy: hides what a team's detector finds in camera frames, before any byte of them reaches a payload file.

Takes the pieces of decode, a policy and a detector (an ONNX file by path and SHA-256; none comes with Scenelake). Gives
pieces whose frames are as recorded where nothing was found, redacted where something was, and withheld where they could
not be looked at; rows of ``redaction`` for the latter two; and originals under their own prefix where the policy keeps
them. Guarantees: nothing that was inside a region is left in it; the same frame and detector give the same bytes; one
frame is looked at at a time, and none larger than the policy allows.
"""
