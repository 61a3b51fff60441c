package scripting

//lint:file-ignore U1000 of these types only the fields are looked at, by reflection

import (
	"reflect"
	"testing"

	"github.com/dop251/goja"
	"github.com/dop251/goja/unistring"
)

type objectWithoutMethods struct {
	self    any
	runtime *goja.Runtime
}

type otherImpl interface{ className() string }

type otherObject struct {
	self    otherImpl
	runtime *goja.Runtime
}

type promiseOfOtherFields struct {
	otherObject
	state, result, fulfillReactions, rejectReactions, handled int
}

// otherBase has a field more than what goja.Promise embeds: memory that copies
// would share.
type otherBase struct {
	class      string
	val        *goja.Object
	prototype  *goja.Object
	extensible bool
	values     map[unistring.String]goja.Value
	propNames  []unistring.String
	slots      *[8]goja.Value
}

type promiseOfOtherBase struct {
	otherBase
	state            goja.PromiseState
	result           goja.Value
	fulfillReactions []*int
	rejectReactions  []*int
	handled          bool
}

// With another goja than this was written for no promise is copied.
func TestOtherPromises(t *testing.T) {
	for name, types := range map[string][2]reflect.Type{
		"object without methods":  {reflect.TypeFor[objectWithoutMethods](), reflect.TypeFor[goja.Promise]()},
		"promise of other fields": {reflect.TypeFor[goja.Object](), reflect.TypeFor[promiseOfOtherFields]()},
		"promise of another base": {reflect.TypeFor[otherObject](), reflect.TypeFor[promiseOfOtherBase]()},
	} {
		if fieldsOfPromises(types[0], types[1]).known {
			t.Errorf("%s: known", name)
		}
	}
	if !fieldsOfPromises(reflect.TypeFor[goja.Object](), reflect.TypeFor[goja.Promise]()).known {
		t.Error("goja's own: not known")
	}
}
