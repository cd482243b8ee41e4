// Package spool keeps the output of processes: a bounded log of bytes with
// absolute offsets, written by one and read by many.
//
// A Spool keeps the newest bytes of its stream: those most recently written in
// memory, older ones in a file. Its limit is what it may keep. At the limit it
// either holds its writer back until a reader has acknowledged bytes, which it
// can then give up, or it gives up the oldest bytes. Whoever wanted bytes that
// are gone is told how many. All spools of a server share a Budget of bytes
// kept and of memory; a spool that meets the budget's limit, or a disk that is
// full, behaves as one that is full itself, and says which.
//
// Package proc calls it: for each output stream of a process it fills a spool
// from the pipe, and opens a Cursor for each reader.
//
// # Concurrency
//
// Fill and Wait are for one goroutine, the writer's. A Cursor is for one
// goroutine at a time, but for Ack, which any may call. Everything else may be
// called from any goroutine at any time. Nothing here starts a goroutine.
// Readers wait for the disk only when they read what is in the file, and the
// writer only when it moves bytes there. Close wakes all who wait.
//
// # Memory
//
// Bytes are read straight from their source into blocks of 128 KiB, and handed
// to readers and to the file from there, without a copy. A stream has at most
// 1 MiB of them. The newest bytes of a stream that says little are copied to
// memory of about their own size instead, so that a spool with a few lines
// costs a few hundred bytes and no file.
//
// # File format
//
// A spool's file is made when bytes first have to leave memory. Nothing is kept
// open between uses, so that spools cost no descriptors. All numbers are
// little-endian.
//
//	header   4096 bytes
//	group    4096 bytes of index, then 256 slots of 131072 bytes
//	group    ...
//
// The header begins with
//
//	magic       8 bytes   "CIRCSPL1"
//	slot size   4 bytes   131072
//	checksum    4 bytes   CRC-32C of the 12 bytes before it
//
// and is zero after that. An index has an entry for each slot of its group:
//
//	start       8 bytes   offset in the stream of the first byte
//	length      4 bytes   how many bytes there are; 0 means that the slot is free
//	checksum    4 bytes   CRC-32C of the 12 bytes before it
//
// A slot holds bytes of one block of the stream, which is a range of offsets of
// the slot's size beginning at a multiple of it. The byte at offset o of the
// stream is at o modulo 131072 of its slot. Slots are in no order. An entry is
// cleared before its slot is used for another block, and written after the
// bytes, so that the file of a server that was killed holds what its entries
// say. Recover reads such a file, and one that was left after Save.
package spool
