export { Florence2Error, UsageError } from './errors.ts';
