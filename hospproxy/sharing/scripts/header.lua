-- Before every other script. KEYS[1] is the head. ARGV[1]: the epoch in which the caller believes to be. ARGV[2]: the latest
-- moment, in milliseconds of this server's time, at which the script may do anything: what a paused server finds in its
-- buffers when it goes on is void.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.pcall('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return {'epoch'} end
if now > tonumber(ARGV[2]) then return {'late'} end
