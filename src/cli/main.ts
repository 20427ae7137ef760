#!/usr/bin/env node
import { exitOnError } from './exit.ts';
import { createProgram } from './program.ts';

await exitOnError(() => createProgram().parseAsync());
