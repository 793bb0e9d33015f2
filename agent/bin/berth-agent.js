#!/usr/bin/env -S MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=16384 MALLOC_MMAP_MAX_=16384 node --max-semi-space-size=1 --optimize-for-size --no-sparkplug
// An agent shares its host with guests: a small nursery; small code, of which only hot loops are compiled to machine code; one arena,
// and what V8 compiles in and TLS receives in (pieces of 16 KiB and more) mapped, so that it goes back to the host. The packages
// start the agent as the first line says. What was measured: agent/README.md, Memory.
import '../dist/berth-agent.js';
