"""The edge of a process: settings, logging, the job runner and its exit codes.

Takes the environment and the command line, gives frozen settings and one way to run a stage. The only
package that reads the environment.
"""
