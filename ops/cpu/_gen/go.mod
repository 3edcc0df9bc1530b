module github.com/contraflow/contraflow/ops/cpu/_gen

go 1.26
