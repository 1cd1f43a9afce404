-- Store the figures of this machine (ARGV[3]: its name, ARGV[4]: the figures, sealed) in the hash KEYS[2], and return those of
-- the other machines: names, ages in milliseconds and values in turn. ARGV[5]: milliseconds after which a silent machine is
-- dropped. ARGV[6]: the most machines.
local found = redis.pcall('HGETALL', KEYS[2])
if found.err then
  redis.call('DEL', KEYS[2]) -- of another type: changed by hand
  found = {}
end
local others = {}
for at = 1, #found, 2 do
  local name, value = found[at], found[at + 1]
  local cut = string.find(value, ' ', 1, true)
  local age = cut and string.match(string.sub(value, 1, cut - 1), '^%d+$') and cut < 17 and now - tonumber(string.sub(value, 1, cut - 1))
  if not age or math.abs(age) > tonumber(ARGV[5]) then
    redis.call('HDEL', KEYS[2], name)
  elseif name ~= ARGV[3] and #others < 3 * tonumber(ARGV[6]) then
    others[#others + 1] = name
    others[#others + 1] = math.max(0, age)
    others[#others + 1] = string.sub(value, cut + 1)
  end
end
if #others < 3 * tonumber(ARGV[6]) then
  redis.call('HSET', KEYS[2], ARGV[3], string.format('%.0f', now) .. ' ' .. ARGV[4])
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return {'ok', others}
