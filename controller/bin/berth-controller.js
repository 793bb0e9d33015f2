#!/usr/bin/env node
import '../dist/berth-controller.js';
