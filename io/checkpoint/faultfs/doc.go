// Package faultfs has two file systems for testing what package checkpoint promises.
//
// [FS] passes every operation on to another file system and asks a function first, so that the n-th write, sync or
// rename can fail, write only half, or be the last thing a process does. [Mem] keeps files in memory and knows which
// bytes and names were synced: [Mem.PowerCut] is what a machine would find after the power came back.
package faultfs
