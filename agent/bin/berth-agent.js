#!/usr/bin/env -S MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=20480 node --max-semi-space-size=1 --optimize-for-size
// An agent shares its host with guests: a small nursery, small code, and one arena that gives back what a burst of work or
// an import has left; otherwise 20 to 60 MB of it stay.
import '../dist/berth-agent.js';
