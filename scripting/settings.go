package scripting

import (
	"fmt"
	"time"

	"github.com/dop251/goja"
)

// settings are what a plugin asks for, with export const plugin. Zero asks for
// nothing.
type settings struct {
	deadline    time.Duration
	callTimeout time.Duration // -1 for no limit
	maxInFlight int
	workers     int
}

// readSettings reads the export called plugin.
func readSettings(exports goja.Value) (settings, error) {
	s := settings{workers: 1}
	o, ok := exports.(*goja.Object)
	if !ok {
		return s, nil
	}
	v := o.Get("plugin")
	if absent(v) {
		return s, nil
	}
	if o, ok = v.(*goja.Object); !ok {
		return s, &Error{Message: "the export \"plugin\" must be an object of settings"}
	}
	for _, name := range o.Keys() {
		var err error
		switch v := o.Get(name); name {
		case "deadline":
			s.deadline, err = readDuration(v, false)
		case "callTimeout":
			s.callTimeout, err = readDuration(v, true)
		case "maxInFlight":
			s.maxInFlight, err = readCount(v)
		case "workers":
			s.workers, err = readCount(v)
		default:
			err = fmt.Errorf("there is no such setting; there are deadline, callTimeout, maxInFlight and workers")
		}
		if err != nil {
			return s, &Error{Message: fmt.Sprintf("the export \"plugin\": %s: %v", name, err)}
		}
	}
	return s, nil
}

// readDuration reads "1s", "250ms" or, if allowed, "none", which is -1.
func readDuration(v goja.Value, none bool) (time.Duration, error) {
	if !goja.IsString(v) {
		return 0, fmt.Errorf("%v is not a time such as \"1s\" or \"250ms\"", v)
	}
	if none && v.String() == "none" {
		return -1, nil
	}
	d, err := time.ParseDuration(v.String())
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time such as \"1s\" or \"250ms\"", v.String())
	}
	return d, nil
}

func readCount(v goja.Value) (int, error) {
	if n := v.ToInteger(); goja.IsNumber(v) && n > 0 && float64(n) == v.ToFloat() && n < 1<<31 {
		return int(n), nil
	}
	return 0, fmt.Errorf("%v is not a whole number above zero", v)
}
