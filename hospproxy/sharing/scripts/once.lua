-- Store who does something (ARGV[3], sealed) under KEYS[2] for ARGV[4] milliseconds, unless somebody is stored there. Return who
-- was; an empty text if nobody was.
local holder = redis.pcall('GET', KEYS[2])
if type(holder) == 'string' then return {'ok', holder} end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return {'ok', ''}
