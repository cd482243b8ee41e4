//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

var errNoNamespaces = errors.New("it takes namespaces and /proc, which only Linux has")

func alone() *syscall.SysProcAttr { return nil }

func settleIn() error { return errNoNamespaces }

type meter struct{}

type reading struct {
	at             time.Time
	bytes, packets float64
}

func newMeter() (*meter, error) { return nil, errNoNamespaces }

func (*meter) read() (reading, error) { return reading{}, errNoNamespaces }

type effort struct {
	switches float64
	cpu      time.Duration
}

func efforts([]*member) (effort, error) { return effort{}, errNoNamespaces }
