# For those whose fingers say `just`: every recipe is the make target of the same name.

help:
    @make help

[no-exit-message]
setup *ARGS:
    @make setup ARGS="{{ARGS}}"

[no-exit-message]
run *ARGS:
    @make run ARGS="{{ARGS}}"

[no-exit-message]
test *ARGS:
    @make test ARGS="{{ARGS}}"

[no-exit-message]
check:
    @make check

format:
    @make format

bench:
    @make bench

lock *ARGS:
    @make lock ARGS="{{ARGS}}"

prices *ARGS:
    @make prices ARGS="{{ARGS}}"

init *ARGS:
    @make init ARGS="{{ARGS}}"

ui:
    @make ui

docs-test *ARGS:
    @make docs-test ARGS="{{ARGS}}"

wheels:
    @make wheels

clean:
    @make clean
