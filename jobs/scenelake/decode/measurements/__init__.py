"""Measurements that decode takes while a payload's bytes are at hand anyway.

Takes an encoded image or the columns of a sweep; gives plain figures; judges nothing: verdicts are quality's.
"""
