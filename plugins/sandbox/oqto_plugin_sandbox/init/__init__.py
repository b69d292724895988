"""
The first process inside: checks the sandbox, forwards ports, runs the agent, and outlives nothing.

bubblewrap starts it as PID 1 with an interpreter that has no site packages and no environment of ours. The
launcher hands these modules over as code, without files (`bundle.py`), and only those that a session needs.
They import C modules alone and each other, because their start is part of every start: `array`, `socket`,
`signal`, `subprocess` and `ctypes` pull in so much Python that each would cost more than the self-check.

Order matters: control groups, self-check, listeners, fork; then the agent alone gets its own session,
limits, Landlock, the second system-call filter. Any failure before that ends with code 125 and a sentence.
"""
