"""Verdicts over HTTP: one process, one evaluator, for trainers and tools on this machine or a trusted network.

Who runs: `commands.serve` opens the `Evaluator` and uvicorn on one event loop. `application` turns requests into work
and results into answers; `dispatcher` lets work wait, hands it to the evaluator and takes it back; `waiting_line`
decides who is admitted, who is next and who is too late, and knows neither clock nor loop.

The way of a request: its body is read, up to a limit, and parsed (in a thread if it is large) into *work*: programs to
judge or to execute. The work is admitted as a whole or refused at once. Admitted work waits in a line of its
connection; lines take turns. The evaluator is given as much as keeps its workers busy, and the rest waits here, where
it can still be withdrawn at no cost. Results go back as they come (`/v1/judge` with a list), or together.

Other tools' formats: a module such as `sandbox_fusion` or `open_instruct` is pure and lists `WireRoute`s (`wire`), each
a path with two functions: `parse` makes a `WireRequest` of a body, or raises `UsageError` (answered with 400), and
`reply` makes a `WireReply` of the request and the results of its work, in their order. In between, `application` asks
for admission, awaits `Evaluator.judge` or `Evaluator.execute` for each, and answers overload and deadlines itself.

Promised: every request gets one answer. Work that cannot be started in time is refused, with a time after which to come
back, when it arrives. A deadline that passes, a full line, a broken evaluator and the service's end are never the
verdict that a program failed: the reward is null, or the status says so (503, 504, 500). A caller that disconnects
takes its work along: what waits is withdrawn, and a program that runs is killed, unless another caller waits for the
same verdict, which is then found out again. After SIGTERM nothing is accepted, and what was accepted has 30 seconds.

Not covered: encryption and users (a reverse proxy's business; one token is all there is), and state between requests or
starts: nothing is written to disk.
"""
