package scripting

import (
	"math/big"
	"reflect"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
	"github.com/dop251/goja/unistring"
)

// Some operators do what a built-in function that needs a guard does: a
// power and a shift of bigints may be larger than all memory, a spread walks an
// array, and one into an object makes a string of each index of a text. So the build puts calls of functions in their place, as far as it
// can't see that they are harmless.
var operatorGuards = map[token.Token]unistring.String{
	token.EXPONENT:    "__amphost_power",
	token.SHIFT_LEFT:  "__amphost_left",
	token.SHIFT_RIGHT: "__amphost_right",
}

const (
	spreadGuard = unistring.String("__amphost_spread") // of what becomes a list
	copyGuard   = unistring.String("__amphost_copy")   // of what is copied as properties
)

// guardOperators does so in a script.
func guardOperators(prog *ast.Program, code string) {
	g := &operatorGuard{
		// Numbers need no guard, and are what most scripts shift.
		bigints: strings.Contains(code, "igint") || strings.Contains(code, "BigInt") || hasBigInt(code),
		seen:    make(map[any]bool),
	}
	if g.bigints || strings.Contains(code, "...") {
		g.walk(reflect.ValueOf(prog.Body))
	}
}

// hasBigInt reports whether there may be a literal such as 10n.
func hasBigInt(code string) bool {
	for i := 1; i < len(code); i++ {
		if code[i] == 'n' && code[i-1] >= '0' && code[i-1] <= '9' {
			return true
		}
	}
	return false
}

type operatorGuard struct {
	bigints bool
	seen    map[any]bool // what a tree holds twice, as it does declarations
}

// walk goes through a part of a syntax tree, which is made of structs, slices,
// pointers and interfaces, and changes expressions in it.
func (g *operatorGuard) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		g.walk(v.Elem())
		if e, ok := v.Interface().(ast.Expression); ok && v.CanSet() {
			if guarded := g.guard(e); guarded != nil {
				v.Set(reflect.ValueOf(guarded))
			}
		}
	case reflect.Pointer:
		if v.IsNil() || v.Type() == typeFile {
			return
		}
		if p := v.Interface(); g.seen[p] {
			return
		} else {
			g.seen[p] = true
		}
		g.walk(v.Elem())
		if b, ok := v.Interface().(*ast.Binding); ok && hasRest(b.Target) && b.Initializer != nil {
			b.Initializer = callOf(copyGuard, b.Initializer, b.Initializer)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				g.walk(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() > reflect.Complex128 { // no bytes
			for i := range v.Len() {
				g.walk(v.Index(i))
			}
		}
	}
}

// guard returns what an expression becomes, or nil if it stays.
func (g *operatorGuard) guard(e ast.Expression) ast.Expression {
	switch e := e.(type) {
	case *ast.SpreadElement:
		if _, literal := e.Expression.(*ast.ArrayLiteral); !literal {
			e.Expression = callOf(spreadGuard, e.Expression, e.Expression)
		}
	case *ast.ObjectLiteral:
		for _, property := range e.Value {
			if spread, ok := property.(*ast.SpreadElement); ok {
				if call, ok := spread.Expression.(*ast.CallExpression); ok && isCallOf(call, spreadGuard) {
					call.Callee.(*ast.Identifier).Name = copyGuard
				}
			}
		}
	case *ast.BinaryExpression:
		name := operatorGuards[e.Operator]
		if name == "" || !g.bigints || isNumber(e.Left) || isNumber(e.Right) {
			return nil // a bigint and a number together throw
		}
		return callOf(name, e, e.Left, e.Right)
	case *ast.AssignExpression:
		if hasRest(e.Left) {
			e.Right = callOf(copyGuard, e.Right, e.Right)
			return nil
		}
		name := operatorGuards[e.Operator]
		if name == "" || !g.bigints || isNumber(e.Right) {
			return nil
		}
		if left, ok := e.Left.(*ast.Identifier); ok {
			e.Right = callOf(name, e, left, e.Right)
			e.Operator = token.ASSIGN
		}
	}
	return nil
}

// hasRest reports whether a pattern copies properties: {a, ...rest}.
func hasRest(e ast.Node) bool {
	p, ok := e.(*ast.ObjectPattern)
	return ok && p.Rest != nil
}

func isCallOf(call *ast.CallExpression, name unistring.String) bool {
	callee, ok := call.Callee.(*ast.Identifier)
	return ok && callee.Name == name
}

func isNumber(e ast.Expression) bool {
	n, ok := e.(*ast.NumberLiteral)
	if !ok {
		return false
	}
	_, big := n.Value.(*big.Int)
	return !big
}

// callOf is a call of a function where an expression was.
func callOf(name unistring.String, at ast.Expression, args ...ast.Expression) ast.Expression {
	return &ast.CallExpression{
		Callee:           &ast.Identifier{Name: name, Idx: at.Idx0()},
		LeftParenthesis:  at.Idx0(),
		ArgumentList:     args,
		RightParenthesis: at.Idx1(),
	}
}

// guardNatives are the functions that guarded operators call.
func (r *realm) guardNatives() {
	hidden := func(name unistring.String, f native) {
		must(r.rt.GlobalObject().DefineDataProperty(name.String(), r.rt.ToValue(f), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	}
	hidden(spreadGuard, func(c goja.FunctionCall) goja.Value {
		if o, ok := c.Argument(0).(*goja.Object); ok && o.ClassName() == "Array" {
			r.atMost("spread", o, maxItems)
		}
		return c.Argument(0)
	})
	hidden(copyGuard, func(c goja.FunctionCall) goja.Value {
		r.checkProperties("copying properties", c.Argument(0))
		return c.Argument(0)
	})
	for op, plain := range map[token.Token]string{token.EXPONENT: "power", token.SHIFT_LEFT: "left", token.SHIFT_RIGHT: "right"} {
		operator, _ := goja.AssertFunction(r.shared.Get(plain))
		hidden(operatorGuards[op], func(c goja.FunctionCall) goja.Value {
			left, right := c.Argument(0), c.Argument(1)
			if b, ok := right.Export().(*big.Int); ok {
				if a, ok := left.Export().(*big.Int); ok {
					r.checkBits(op, a, b)
				}
			}
			v, err := operator(nil, left, right)
			if err != nil {
				panic(err)
			}
			return v
		})
	}
}

// checkBits bounds the size of what an operator makes of bigints.
func (r *realm) checkBits(op token.Token, a, b *big.Int) {
	n, small := b.Int64(), b.IsInt64()
	switch {
	case a.Sign() == 0 || op == token.EXPONENT && (a.CmpAbs(big.NewInt(1)) == 0 || b.Sign() < 0):
		return
	case op == token.SHIFT_RIGHT:
		n = -n
	}
	bits := float64(a.BitLen())
	if op == token.EXPONENT {
		bits *= float64(n)
	} else {
		bits += float64(n)
	}
	shrinks := op == token.SHIFT_LEFT && b.Sign() < 0 || op == token.SHIFT_RIGHT && b.Sign() > 0
	if bits > maxBits || !small && !shrinks {
		panic(r.rangeError("the bigint would have more than %d bits", maxBits))
	}
}
