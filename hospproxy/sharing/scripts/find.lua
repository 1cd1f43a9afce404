-- Find a write of which this may be the retry (ARGV[5] says how), and wait for it until ARGV[7] milliseconds from now.
local how, name, equal, gone = ARGV[5], ARGV[6], ARGV[8], ARGV[9]
if how == 'equal' then
  prune()
  for _, one in ipairs(list(name)) do
    local w = read(one)
    -- The caller knows its own writes better than Redis does.
    if w and w.m ~= me and not w.h and in_window(w) and not waited_for(w) and not overtaken(one, w) then
      if w.l or not live(w) then
        join(one, w, ARGV[7])
        return {'ok', mark, 'join', one}
      end
    end
  end
  return {'ok', mark, 'none', ''}
end
if how == 'key' then
  local word, found = under_key(name, equal, gone)
  if not word and not complete() then word = 'unsaid' end
  return {'ok', mark, word or 'none', found or ''}
end
local w = read(ref)
if not w then return {'ok', mark, 'none', ''} end
if w.s == 'over' then
  -- The write that took it over is its retry: the outcome of both, and of the key, is that one's outcome.
  if how == 'own' then return {'ok', mark, 'handed', ''} end
  if how == 'outcome' or w.k then return {'ok', mark, 'join', w.n} end
  return {'ok', mark, 'none', ''}
end
if how == 'own' then
  if w.h or overtaken(ref, w) then return {'ok', mark, 'handed', ''} end
  if (waited_for(w) and w.j ~= me) or (w.m ~= me and not w.l and live(w)) then return {'ok', mark, 'waited', ''} end
  join(ref, w, ARGV[7])
  return {'ok', mark, 'joined', ''}
end
if how == 'look' and not w.k then join(ref, w, ARGV[7]) end
local kept = not is_open(w) and answer and redis.call('GET', answer) or ''
return {'ok', mark, 'is', w.s, w.r or '', w.l and 1 or 0, is_open(w) and takeable(w, gone) and 1 or 0, kept, w.a or '', w.m}
