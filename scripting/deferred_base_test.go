package scripting

import (
	"reflect"
	"testing"

	"github.com/dop251/goja"
	"github.com/dop251/goja/unistring"
)

type otherImpl interface{ className() string }

type otherObject struct {
	self    otherImpl
	runtime *goja.Runtime
}

// What goja.Promise embeds has a field more: memory that a copy would share.
type otherBase struct {
	class      string
	val        *goja.Object
	prototype  *goja.Object
	extensible bool
	values     map[unistring.String]goja.Value
	propNames  []unistring.String
	slots      *[8]goja.Value // new: made with the object
}

type otherPromise struct {
	otherBase
	state            goja.PromiseState
	result           goja.Value
	fulfillReactions []*int
	rejectReactions  []*int
	handled          bool
}

func TestOtherBaseOfPromises(t *testing.T) {
	if fieldsOfPromises(reflect.TypeFor[otherObject](), reflect.TypeFor[otherPromise]()).known {
		t.Error("an object that has memory of its own, which copies would share: known")
	}
}
