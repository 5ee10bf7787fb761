#!/bin/cat
# Not a shell at all: it prints this.
