package scripting

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/dop251/goja"
)

// config makes amp.plugin.config of what the operator wrote: frozen through and
// through, an empty object if that is nothing.
func (r *realm) config() (goja.Value, error) {
	table := r.w.p.config
	if table == nil {
		table = map[string]any{}
	}
	return r.configValue(table)
}

// configValue makes a value of one of Options.Config.
func (r *realm) configValue(v any) (goja.Value, error) {
	var o *goja.Object
	switch v := v.(type) {
	case nil, bool, string, float64:
		return r.rt.ToValue(v), nil
	case int64:
		if v < -maxSafe || v > maxSafe {
			return nil, fmt.Errorf("%d is beyond ±(2^53-1), which a number can't hold: write it in quotes", v)
		}
		return r.rt.ToValue(v), nil
	case time.Time:
		return r.rt.New(r.rt.Get("Date"), r.rt.ToValue(v.UnixMilli()))
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			var err error
			if list[i], err = r.configValue(element); err != nil {
				return nil, within(fmt.Sprintf("[%d]", i), err)
			}
		}
		o = r.rt.NewArray(list...)
	case map[string]any:
		o = r.rt.NewObject()
		for _, key := range sortedKeys(v) {
			element, err := r.configValue(v[key])
			if err != nil {
				return nil, within(key, err)
			}
			if err := o.DefineDataProperty(key, element, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("a %T can't be told to a script", v)
	}
	_, err := r.fn.freeze(nil, o)
	return o, err
}

// Configure changes what Options.Config is. Plugins that it has changed for are
// loaded again, as by ReloadAll, which it does; what does not load goes on with
// what it was told before.
func (d *Dir) Configure(ctx context.Context, config map[string]map[string]any) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	for name, e := range d.entries {
		if !reflect.DeepEqual(d.config[name], config[name]) {
			e.retold = true
		}
	}
	d.config = config
	<-d.turn
	return d.ReloadAll(ctx)
}
