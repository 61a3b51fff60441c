package store_test

import (
	"testing"

	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMem() })
}

func BenchmarkMem(b *testing.B) {
	storetest.Bench(b, func(*testing.B) store.Store { return store.NewMem() })
}
