-- The answer under KEYS[2] and the generations under KEYS[3] and on, as they are at one moment. ARGV[3]: the longest answer
-- that is wanted, in bytes; 0: none is. ARGV[4]: milliseconds that a new generation lives.
local generations = {}
for i = 3, #KEYS do
    local found = redis.pcall('GET', KEYS[i])
    if type(found) ~= 'string' then
        -- It expired or was evicted: only a number that was never used matches nothing that was kept under it. The letter
        -- keeps these apart from the numbers of the log, which writes raise generations to.
        found = 'n' .. redis.call('HINCRBY', KEYS[1], 'fresh', 1)
        redis.call('SET', KEYS[i], found, 'PX', ARGV[4])
    end
    generations[i - 2] = found
end
local value = false
local longest = tonumber(ARGV[3])
if longest > 0 then
    local size = redis.pcall('STRLEN', KEYS[2])
    if type(size) ~= 'number' or size > longest then
        value = '' -- of another type, or too long for anybody to have kept it: nonsense, to be counted
    else
        value = redis.call('GET', KEYS[2])
    end
end
return {'ok', ARGV[1], now, redis.call('HGET', KEYS[1], 'seq'), value, generations}
