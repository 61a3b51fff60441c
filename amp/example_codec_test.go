package amp_test

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/amphost/amphost/amp"
)

func ExampleMarshal() {
	type Item struct {
		Name  string      `amp:"name"`
		Price amp.Decimal `amp:"price"`
	}
	type Order struct {
		ID    int       `amp:"id"`
		When  time.Time `amp:"when"`
		Items []Item    `amp:"items"`
		Tags  []string  `amp:"tags"`
		Note  *string   `amp:"note"` // optional: nil is left out
	}
	box, err := amp.Marshal(Order{
		ID:    7,
		When:  time.Date(2012, 1, 23, 12, 34, 56, 0, time.UTC),
		Items: []Item{{"tea", amp.NewDecimal(1999, -2)}},
		Tags:  []string{"new", "gift"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(box)) {
		fmt.Printf("%s %q\n", key, box[key])
	}
	// Output:
	// id "7"
	// items "\x00\x04name\x00\x03tea\x00\x05price\x00\x0519.99\x00\x00"
	// tags "\x00\x03new\x00\x04gift"
	// when "2012-01-23T12:34:56.000000-00:00"
}

func ExampleUnmarshal() {
	box := amp.Box{"a": []byte("13"), "b": []byte("81"), "unknown": []byte("?")}
	var args struct {
		A int `amp:"a"`
		B int `amp:"b"`
		C int `amp:"c,optional"`
	}
	err := amp.Unmarshal(box, &args)
	fmt.Println(args, err)

	box["a"] = []byte("12x")
	fmt.Println(amp.Unmarshal(box, &args))
	// Output:
	// {13 81 0} <nil>
	// amp: argument "a": Integer "12x": not a whole number
}

func ExampleDecimal() {
	price, err := amp.ParseDecimal("1.10")
	if err != nil {
		fmt.Println(err)
		return
	}
	short := amp.NewDecimal(11, -1)
	fmt.Println(price, short, price == short)
	c, _ := price.Cmp(short)
	fmt.Println("compared:", c)
	r, _ := price.Rat()
	fmt.Println("as a fraction:", r)
	// Output:
	// 1.10 1.1 false
	// compared: 0
	// as a fraction: 11/10
}

// A type of one's own is any that writes and reads its text, such as netip.Addr.
func ExampleMarshal_ownTypes() {
	type Host struct {
		Addr netip.Addr `amp:"addr"`
		Home amp.Path   `amp:"home"`
		Seen *big.Int   `amp:"seen"` // an Integer of any size
	}
	seen, _ := new(big.Int).SetString("100000000000000000000", 10)
	box, err := amp.Marshal(Host{netip.MustParseAddr("::1"), "/home//ada/../eve", seen})
	fmt.Printf("%s %s %s %v\n", box["addr"], box["home"], box["seen"], err)
	var host Host
	err = amp.Unmarshal(amp.Box{"addr": []byte("127.0.0.1.2"), "home": nil, "seen": nil}, &host)
	var bad *amp.ValueError
	fmt.Println(errors.As(err, &bad), bad.Key, bad.Text)
	// Output:
	// ::1 /home/eve 100000000000000000000 <nil>
	// true addr "127.0.0.1.2"
}
