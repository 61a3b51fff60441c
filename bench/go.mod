module github.com/amphost/amphost/bench

go 1.26.0

require github.com/amphost/amphost v0.0.0

replace github.com/amphost/amphost => ..
