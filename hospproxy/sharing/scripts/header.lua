-- Prepended to every script but open. KEYS[1]: the head. ARGV[1]: the epoch that the caller knows. ARGV[2]: the latest moment,
-- in milliseconds of this server's time, at which the script may change anything: commands that a paused server finds in its
-- buffers when it resumes have no effect.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.pcall('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return {'epoch'} end
if now > tonumber(ARGV[2]) then return {'late'} end
