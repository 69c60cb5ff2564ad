"""The command line: `backstay`, and `kubectl backstay`. What is shown is worked out in `views/`, pure; the commands do the I/O."""
